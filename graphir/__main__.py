"""`python -m graphir`: the command line."""

from graphir.runtime.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
