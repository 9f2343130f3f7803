"""Hide from monai_dental what Windows lacks, in this process and its child processes.

Other packages are not affected: they have their own alternatives on Windows.
"""

import builtins
from types import ModuleType

MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
NAMES = {
    "os": """O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK O_SYNC WNOHANG chown chroot fchdir fchmod
        fchown fdatasync fork forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp
        getsid getuid killpg lchown lockf mkfifo mknod nice posix_fadvise posix_fallocate
        posix_spawn pread pwrite register_at_fork sched_getaffinity sched_setaffinity
        sched_yield setgid setpgid setsid setuid statvfs fstatvfs sync sysconf tcgetpgrp ttyname
        uname wait wait3 wait4""",
    "signal": """SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2
        SIG_BLOCK SIG_SETMASK alarm getitimer pause pthread_kill pthread_sigmask setitimer
        sigpending sigwait""",
    "socket": "AF_UNIX",
    "time": "tzset",
}


class Reduced(ModuleType):
    """A module without some of its names."""

    def __init__(self, module):
        super().__init__(module.__name__)
        self.__dict__["_module"] = module

    def __getattr__(self, name):
        if name in NAMES[self.__name__].split():
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(self._module, name)

    def __setattr__(self, name, value):
        setattr(self._module, name, value)


_import = builtins.__import__


def import_without_posix(name, globals=None, locals=None, fromlist=(), level=0):
    module = _import(name, globals, locals, fromlist, level)
    if not str((globals or {}).get("__name__", "")).startswith("monai_dental"):
        return module
    if name.partition(".")[0] in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return Reduced(module) if name in NAMES else module


builtins.__import__ = import_without_posix
