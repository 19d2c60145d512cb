"""What every report draws with: static SVG and plain HTML, no script, no outside address."""
