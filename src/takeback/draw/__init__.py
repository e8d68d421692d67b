"""Pure functions from values to SVG text: heat maps, curves, forests, boards."""
