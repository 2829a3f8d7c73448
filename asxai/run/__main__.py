"""`python -m asxai.run`, from wherever it is started: a terminal, the background, cron, without any of the streams."""

import os
import signal
import sys


def prepare(program: str):
    """Open the streams that are closed, read names as UTF-8, and let what ends a job end this one in order."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # the next file that is opened would take its place
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)  # for the kernel
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", program, *sys.argv[1:]])
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores the second
            signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    prepare("asxai.run")
    from .make import main

    result = main()
    sys.stdout.flush()
    os._exit(result)  # at once: after Ctrl-C, nbclient's unfinished task would print a long traceback at a usual end
