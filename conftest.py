"""For the tests and the examples in docstrings: who starts them in the background, or under nohup, has them ignore these signals; what is
tested is what they do."""

import signal

for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
