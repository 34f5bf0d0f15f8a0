"""The init of one server: keeps its services up, runs its jobs, and does as `svc` says.

A service is a folder svc/NAME in the server's home:

    run      the program, started with the home as its folder; it must stay in the foreground
    every    seconds between two starts: then it is a job, not a service
    order    a number: services start in rising and end in falling order (50)
    grace    seconds between TERM and KILL (10)
    ready    a program that exits 0 once the service can be used; `svc start` waits for it
    listens  ADDRESS:PORT where it can be reached once it can be used: the same without a program
    down     is there when it was stopped
    mask     is there when it was stopped to stay: no respawn, no reboot starts it, only `svc start` by hand
    pid      process and its start time, written by the init
    stamp    last start, end and exit status of a job

All state is in files, so the init may be killed at any moment: the next one adopts what still runs.
"""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time

HOME = os.environ["HOME"]
ROOT = os.path.join(HOME, "svc")
RUN = os.path.join(HOME, "run")
LOG = os.path.join(HOME, "log")
RESPAWN_AFTER = 0.2  # seconds; a service that dies at once again is tried each second
KEPT = ("PATH", "HOME", "USER", "LANG", "RS_MACHINE")  # services see no input, hence no password
WAKE = signal.SIGUSR1


def path(*parts):
    return os.path.join(ROOT, *parts)


def read(file, default=""):
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.read().strip()
    except OSError:
        return default


def write(file, text, mode=0o644):
    """A whole new file or the old one, never half of it. Says whether it changed."""
    try:
        with open(file, encoding="utf-8") as opened:
            if opened.read() == text:
                return False
    except OSError:
        pass
    fresh = f"{file}.new"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as opened:
        opened.write(text)
    os.rename(fresh, file)
    return True


def remove(file):
    try:
        os.unlink(file)
        return True
    except FileNotFoundError:
        return False


def started(pid):
    """When a process began, in ticks since boot; None when it is gone or only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as opened:
            fields = opened.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def alive(name):
    """The process of a service, or 0. The start time keeps a reused number from being taken for it."""
    pid, _, ticks = read(path(name, "pid")).partition(" ")
    return int(pid) if pid and ticks and started(pid) == ticks else 0


def number(name, what, default):
    try:
        return float(read(path(name, what)) or default)
    except ValueError:
        return default


def names():
    try:
        found = [name for name in os.listdir(ROOT) if os.path.exists(path(name, "run"))]
    except FileNotFoundError:
        return []
    return sorted(found, key=lambda name: (number(name, "order", 50), name))


def wanted(name):
    return not (os.path.exists(path(name, "down")) or os.path.exists(path(name, "mask")))


def kill(pid, what):
    """To the whole group: every service leads its own."""
    try:
        os.killpg(pid, what)
    except (ProcessLookupError, PermissionError):
        pass


class Init:
    """The process that starts, reaps and ends services."""

    def __init__(self):
        self.not_before = {}  # name -> monotonic time of the next try
        self.since = {}  # name -> monotonic time of its last start
        self.ending = {}  # name -> monotonic time when KILL follows
        self.children = {}  # pid -> name
        self.quick = {}  # name -> how often it died within its first second, one after the other
        self.over = False

    def start(self, name):
        log = os.path.join(LOG, f"{name}.log")
        environment = {key: os.environ[key] for key in KEPT if key in os.environ}
        try:
            pid = os.posix_spawn(
                path(name, "run"),
                [path(name, "run")],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, WAKE],
            )
        except OSError as error:
            say(f"{name}: cannot be started: {error}")
            self.not_before[name] = time.monotonic() + 1
            return
        self.children[pid] = name
        self.since[name] = time.monotonic()
        write(path(name, "pid"), f"{pid} {started(pid)}\n")
        if os.path.exists(path(name, "every")):
            write(path(name, "stamp"), f"started={time.time():.3f}\n")

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            name = self.children.pop(pid, None)
            if name is not None:
                self.ended(name, pid, os.waitstatus_to_exitcode(status))

    def ended(self, name, pid, status):
        kill(pid, signal.SIGKILL)  # what the dead leader left behind would hold its port or its data
        if read(path(name, "pid")).startswith(f"{pid} "):
            remove(path(name, "pid"))
        self.ending.pop(name, None)
        if os.path.exists(path(name, "every")):
            begun = read(path(name, "stamp")).splitlines()[:1]
            write(path(name, "stamp"), "\n".join([*begun, f"ended={time.time():.3f}", f"exit={status}\n"]))
            return
        quick = time.monotonic() - self.since.get(name, 0) < 1
        self.not_before[name] = time.monotonic() + (0.9 if quick else RESPAWN_AFTER)
        self.quick[name] = self.quick.get(name, 0) + 1 if quick else 0
        if wanted(name) and not self.over and self.quick[name] % 60 < 2:
            say(f"{name}: process {pid} ended ({status}), is started again"
                + (", and dies at once each time" if self.quick[name] else ""))

    def due(self, name):
        every = read(path(name, "every"))
        if not every:
            return self.not_before.get(name, 0)
        last = read(path(name, "stamp")).partition("started=")[2].partition("\n")[0]
        # The stamp is wall time since it outlives this process; a clock set back must not stop the job.
        wait = float(last or 0) + float(every) - time.time()
        return time.monotonic() + min(wait, float(every))

    def end(self, name, pid):
        now = time.monotonic()
        if name not in self.ending:
            self.ending[name] = now + number(name, "grace", 10)
            kill(pid, signal.SIGTERM)
        elif now >= self.ending[name]:
            kill(pid, signal.SIGKILL)

    def turn(self):
        """One look at every service. Returns the seconds until the next is needed."""
        self.reap()
        now, soon = time.monotonic(), 2  # a signal wakes us before; this is for files that a person changed
        present = names()
        for name in present:
            pid = alive(name)
            if pid:
                if pid not in self.children:
                    soon = min(soon, 0.1)  # adopted: nobody tells us when it ends
                if not wanted(name):
                    self.end(name, pid)
                    soon = min(soon, 0.05)
                continue
            if name in self.ending:
                self.ending.pop(name)
            remove(path(name, "pid"))
            if wanted(name):
                left = self.due(name) - now
                if left <= 0:
                    self.start(name)
                else:
                    soon = min(soon, left)
        return max(soon, 0.005)

    def stop_all(self):
        self.over = True
        for name in reversed(names()):
            while pid := alive(name):
                self.end(name, pid)
                signal.sigtimedwait({signal.SIGCHLD}, 0.05)
                self.reap()

    def main(self):
        mine = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, WAKE}
        signal.pthread_sigmask(signal.SIG_BLOCK, mine)
        lock = os.open(os.path.join(RUN, "init.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        write(os.path.join(RUN, "init.pid"), f"{os.getpid()} {started(os.getpid())}\n")
        say(f"init {os.getpid()} of {os.environ.get('RS_MACHINE', 'no machine')} begins")
        while True:
            soon = self.turn()
            got = signal.sigtimedwait(mine, soon)
            if got and got.si_signo in (signal.SIGTERM, signal.SIGINT):
                break
        say("ends, and all services before")
        self.stop_all()
        remove(os.path.join(RUN, "init.pid"))


def say(text):
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}", file=sys.stderr, flush=True)


def init_pid():
    pid, _, ticks = read(os.path.join(RUN, "init.pid")).partition(" ")
    return int(pid) if pid and started(pid) == ticks else 0


def wake():
    """Tells the init that a file changed; starts it where there is none."""
    pid = init_pid()
    if pid:
        try:
            os.kill(pid, WAKE)
            return
        except ProcessLookupError:
            pass
    environment = {key: os.environ[key] for key in KEPT if key in os.environ}
    log = os.open(os.path.join(LOG, "init.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    subprocess.Popen(
        ["python3", "-I", "-S", os.path.abspath(__file__), "init"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=HOME, env=environment, start_new_session=True,
    )
    os.close(log)
    until(lambda: init_pid(), 10, "the init does not start: see log/init.log")


def until(condition, seconds, otherwise, name=None):
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            lines = read(os.path.join(LOG, f"{name}.log")).splitlines()[-3:] if name else []
            sys.exit("\n  ".join([f"svc: {otherwise}" + (f"; log/{name}.log ends:" if lines else ""), *lines]))
        time.sleep(0.01)
    return found


def known(wanted_names):
    there = names()
    missing = [name for name in wanted_names if name not in there]
    if missing:
        sys.exit(f"svc: no service {', '.join(missing)}; there are: {', '.join(there) or 'none'}")
    return [name for name in there if name in wanted_names]


def is_job(name):
    return os.path.exists(path(name, "every"))


def is_asked(name):
    """Whether there is a question for it."""
    return os.path.exists(path(name, "listens")) or os.path.exists(path(name, "ready"))


def is_ready(name):
    """Whether there is a question for it, and the answer is yes."""
    address, _, port = read(path(name, "listens")).rpartition(":")
    if port:
        import socket  # few need it, and it takes its time
        try:
            socket.create_connection((address.strip("[]"), port), 1).close()
            return True
        except OSError:
            return False
    return os.path.exists(path(name, "ready")) and subprocess.call(
        [path(name, "ready")], cwd=HOME, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0


def start(args):
    for name in known(args.names):
        if os.path.exists(path(name, "mask")) and os.environ.get("RS_REBOOT") == "true":
            print(f"{name}: was stopped to stay, stays stopped")
            continue
        running = alive(name)
        # a foreigner on its port would answer in its place, and it would die each time unseen
        if not running and is_ready(name):
            sys.exit(f"svc: {name} does not run, and somebody else answers in its place; nothing was started")
        changed = remove(path(name, "mask")) | remove(path(name, "down"))
        wake()
        if is_job(name):
            print(f"{name}: every {read(path(name, 'every'))} s ({'now' if changed else 'already'})")
            continue
        until(lambda: alive(name), args.timeout, f"{name} does not start", name)
        if is_asked(name):
            until(lambda: alive(name) and is_ready(name), args.timeout,
                f"{name} is not ready after {args.timeout:g} s", name)
        pid = alive(name)
        print(f"{name}: up, process {pid} ({'already' if pid == running else 'now'})")


def stop(args):
    stay = args.stay or os.environ.get("RS_STAY") == "true"
    chosen = list(reversed(known(args.names)))
    for name in chosen:
        write(path(name, "down"), "")
        if stay:
            write(path(name, "mask"), "")
    wake()
    for name in chosen:
        until(lambda: not alive(name), number(name, "grace", 10) + 10, f"{name} does not end")
        print(f"{name}: stopped{' to stay' if stay else ''}")


def restart(args):
    for name in reversed(known(args.names)):
        write(path(name, "down"), "")
        wake()
        until(lambda: not alive(name), number(name, "grace", 10) + 10, f"{name} does not end")
    start(args)


def state(name):
    pid = alive(name)
    if os.path.exists(path(name, "mask")):
        word = "masked"
    elif os.path.exists(path(name, "down")):
        word = "down"
    elif is_job(name):
        word = "running" if pid else "waiting"
    else:
        word = "up" if pid else "failed"
    return word, pid


def status(args):
    bad = False
    for name in known(args.names) if args.names else names():
        word, pid = state(name)
        bad |= word not in ("up", "waiting", "running")
        extra = f" pid={pid}" if pid else ""
        if is_job(name):
            extra += f" every={read(path(name, 'every'))} {' '.join(read(path(name, 'stamp')).split())}".rstrip()
        print(f"{name} {word}{extra}")
    sys.exit(3 if bad and args.names else 0)


def install(args):
    name = args.names[0]
    if not name or name.startswith(".") or any(c not in
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-" for c in name):
        sys.exit(f"svc: a service cannot be called {name!r}: letters, digits, _ . and -")
    new = not os.path.exists(path(name, "run"))
    for folder in (path(name), RUN, LOG):
        os.makedirs(folder, exist_ok=True)
    if new:
        write(path(name, "down"), "")
    for what in ("every", "order", "grace"):
        value = getattr(args, what)
        if value is None:
            remove(path(name, what))
        else:
            write(path(name, what), f"{value:g}\n")
    for what, text, mode in (("ready", f"#!/bin/sh\n{args.ready}\n", 0o755), ("listens", f"{args.listens}\n", 0o644)):
        if getattr(args, what) is not None:
            write(path(name, what), text, mode)
        else:
            remove(path(name, what))
    changed = write(path(name, "run"), sys.stdin.read(), 0o755)
    print(f"{name}: {'installed' if new else 'changed' if changed else 'unchanged'}")


def uninstall(args):
    there = [name for name in args.names if name in names()]
    if there:
        args.names, args.stay = there, False
        stop(args)
    for name in there:
        os.rename(path(name), path(f".{name}.gone"))
        for file in os.listdir(path(f".{name}.gone")):
            remove(path(f".{name}.gone", file))
        os.rmdir(path(f".{name}.gone"))


def shutdown(_args):
    pid = init_pid()
    if pid:
        os.kill(pid, signal.SIGTERM)
        until(lambda: not init_pid(), 120, "the init does not end")
    left = [name for name in names() if alive(name)]
    if left:  # the init was killed before: its services are still there
        wake()
        shutdown(_args)
        return
    print("all services stopped")


def main():
    words = {"start": start, "stop": stop, "restart": restart, "status": status, "install": install,
             "uninstall": uninstall, "shutdown": shutdown, "up": lambda _args: wake(), "init": lambda _args: Init().main()}
    parser = argparse.ArgumentParser(prog="svc", description="Services of this server, kept up by its init.")
    parser.add_argument("verb", choices=words)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--stay", action="store_true", help="stop: neither respawn nor reboot starts it again")
    parser.add_argument("--timeout", type=float, default=30, help="start: seconds to wait (30)")
    parser.add_argument("--every", type=float, help="install: a job, started every so many seconds")
    parser.add_argument("--order", type=float, help="install: rising start, falling stop (50)")
    parser.add_argument("--grace", type=float, help="install: seconds between TERM and KILL (10)")
    parser.add_argument("--ready", metavar="COMMAND", help="install: exits 0 once the service can be used")
    parser.add_argument("--listens", metavar="ADDRESS:PORT", help="install: the same, without a command")
    args = parser.parse_intermixed_args()
    if args.verb in ("start", "stop", "restart", "install", "uninstall") and not args.names:
        parser.error(f"{args.verb} needs a name")
    for folder in (ROOT, RUN, LOG):
        os.makedirs(folder, exist_ok=True)
    os.umask(0o022)
    words[args.verb](args)


if __name__ == "__main__":
    main()
