"""__main__."""

import os
import sys

from .make import main

if __name__ == "__main__":
    result = main()
    sys.stdout.flush()
    os._exit(result)  # at once: after Ctrl-C, nbclient's unfinished task would print a long traceback at a usual end
