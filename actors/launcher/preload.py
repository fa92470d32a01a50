"""What the forkserver does before it serves. Import it nowhere else: importing it makes a process the forkserver.

`multiprocessing` runs nothing of ours in its forkserver but imports, hence code at module level. The forkserver must
die with the launcher: the runners hold its alive-pipe open, so a killed launcher would leave all of them.

SIGTERM is blocked rather than ignored. For the forkserver that is the same, it never looks; but a signal that reaches
a fresh child before that has found its feet stays pending there instead of being lost.
"""

import os
import signal

from actors.process import die_with_parent, set_title

die_with_parent()
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
set_title("forkserver")

FORKSERVER_PID = os.getpid()
"""Children read it: a forked copy tells who the parent must be."""
