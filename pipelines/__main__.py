"""The command `itbwatch`. Each module of ``pipelines.commands`` is one command: a new command is a new file.

A module ``replay.py`` holds ``command``, a click command; it is imported when it is used, so that help stays quick.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines import starting

if __name__ == "__main__" or Path(sys.argv[0]).name == "itbwatch":  # what follows takes a while to load
    starting.end_quietly(sys.argv[1:])

import logging
import os
import signal
import traceback
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import click

from detector.errors import ConfigError, ItbwatchError
from pipelines import commands
from pipelines.errors import INPUT_OUTPUT, NO_PROGRESS, exit_code
from pipelines.garbage import look_seldom
from pipelines.usage import usage_line


class _ReaderLeft(Exception):
    """Standard output was closed by whoever read it. The library would end with a code that means nothing here."""


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderLeft from error

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(module.name.replace("_", "-") for module in iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        found = import_module(f"{commands.__name__}.{cmd_name.replace('-', '_')}").command
        assert isinstance(found, click.Command)
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="itbwatch", prog_name="itbwatch")
def cli() -> None:
    """Watch ICU vitals and labs for trajectories compatible with intrathecal baclofen withdrawal.

    Research and quality software: not a medical device and never the primary alarm.

    Begin with `itbwatch demo`; see `itbwatch COMMAND --help` for each command.
    """


def main() -> None:
    """Run a command and exit: 0 done, 2 usage or configuration, 65 input refused, 70 internal, 74 input/output."""
    look_seldom()
    if signal.getsignal(signal.SIGINT) is starting.interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # from here on a command may have things to put away
    try:
        sys.exit(cli(prog_name="itbwatch", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        _say(usage_line(error))
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(starting.INTERRUPTED)
    except ConfigError as error:
        _say(*error.problems)
        sys.exit(exit_code(error))
    except ItbwatchError as error:
        _say(str(error))
        sys.exit(exit_code(error))
    except _ReaderLeft:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
        sys.exit(INPUT_OUTPUT)
    except OSError as error:
        what = f"{error.filename or 'input/output'}: {error.strerror or type(error).__name__}"
        _say(f"{what}; expected a path that can be read and written; check that it is there, its mode and its disk")
        sys.exit(INPUT_OUTPUT)
    except Exception as error:  # noqa: BLE001 - the last resort: where it happened, and no value that it happened with
        logging.getLogger(__name__).critical("internal_error error=%s", type(error).__name__)
        for place in traceback.extract_tb(error.__traceback__):
            _say(f"  {place.filename}:{place.lineno} in {place.name}")
        _say(f"internal error: {type(error).__name__}; please report these lines")
        sys.exit(NO_PROGRESS)


def _say(*lines: str) -> None:
    for line in lines:
        click.echo(line, err=True)


if __name__ == "__main__":
    main()
