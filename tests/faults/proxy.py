"""Stands between the hub and its PostgreSQL server, and loses answers."""

import contextlib
import select
import socket
import threading
from pathlib import Path

COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"  # CommandComplete, as the server sends it
SOCKET = ".s.PGSQL.5432"


class Proxy:
    """Listens in `folder` like the server in `behind`. `lose_answers`: of so many transactions it
    passes the COMMIT on, and cuts the connection instead of passing the answer back."""

    def __init__(self, folder: Path, behind: str) -> None:
        self.folder = str(folder)
        self.behind = f"{behind}/{SOCKET}"
        self.lost = 0
        self.lose_answers = 0
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(ours,), daemon=True).start()

    def _pass_on(self, ours: socket.socket) -> None:
        with ours, socket.socket(socket.AF_UNIX) as theirs, contextlib.suppress(OSError):
            theirs.connect(self.behind)
            other = {ours: theirs, theirs: ours}
            while True:
                for end in select.select([ours, theirs], [], [])[0]:
                    data = end.recv(65_536)
                    if not data or (end is theirs and self._loses(data)):
                        return
                    other[end].sendall(data)

    def _loses(self, data: bytes) -> bool:
        with self._lock:
            if COMMITTED not in data or not self.lose_answers:
                return False
            self.lose_answers -= 1
            self.lost += 1
            return True
