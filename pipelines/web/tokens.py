"""A file of those who may answer alerts or look at them over HTTP: a line ``name: token`` for each."""

from __future__ import annotations

from typing import Final

from detector.errors import ConfigError
from pipelines.settings import UNWRITABLE, read_secret

SMALLEST_TOKEN: Final = 32  # characters
WHERE: Final = "$.http.tokens_file"


def read_tokens(path: str, where: str = WHERE) -> dict[str, str]:
    """Token -> name, from a file of mode 0600; empty lines and lines that begin with ``#`` are passed over.

    Raises:
        ConfigError: with every line that cannot be used; no token is repeated in it.
    """
    problems, tokens = list[str](), dict[str, str]()
    try:
        lines = read_secret(path, where).decode().splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError([f"config.yaml {where}: {path!r} is not UTF-8; expected lines of name: token"]) from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, _, token = (part.strip() for part in line.rpartition(":"))
        if not name or UNWRITABLE.search(name):
            problems.append(f"line {number}: expected name: token")
        elif len(token) < SMALLEST_TOKEN or not token.isascii() or any(map(str.isspace, token)):
            problems.append(
                f"line {number}: a token of {len(token)} characters; expected {SMALLEST_TOKEN} or more of ASCII"
            )
        elif token in tokens:
            problems.append(f"line {number}: the token of an earlier line; expected one of its own for each name")
        else:
            tokens[token] = name
    if not problems and not tokens:
        problems.append("holds no token; expected lines of name: token")
    if problems:
        raise ConfigError([f"config.yaml {where}: {path!r} {problem}" for problem in problems])
    return tokens
