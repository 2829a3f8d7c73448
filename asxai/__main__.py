"""`python -m asxai`, or `asxai` where the package is installed: see `asxai.run.command`."""

import sys

from .run.__main__ import prepare


def main():
    prepare("asxai")
    from .run.command import main

    sys.exit(main())


if __name__ == "__main__":
    main()
