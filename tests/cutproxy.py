"""cutproxy.py - stands between linesync and a store that speaks HTTP: passes each request on, tells when
a batch has gone out and when its answer has come, and cuts all connections when told to."""

import http.client
import http.server
import socket
import threading
import time


class Proxy:
    """Its hooks run in the thread of the connection, with the number of the batch: on_sent when the
    store has it whole and its answer has not been read, on_answered when the answer was passed on."""

    def __init__(self, target, batch=("POST", "/v1/batch/objects")):
        self.target, self.batch = target, batch
        self.on_sent = self.on_answered = None
        self.batches = 0
        self.gate = threading.Event()       # closed: what comes waits
        self.gate.set()
        self.lock = threading.Lock()
        self.handlers = set()
        self.open = 0                       # connections that were accepted and have not ended
        self.listener = self.thread = None
        self.port = 0
        self.listen()

    def listen(self):
        """Opens its port, the same one each time."""
        self.listener = Listener(("127.0.0.1", self.port), Handler)
        self.listener.proxy = self
        self.port = self.listener.server_port
        self.thread = threading.Thread(target=self.listener.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def wait_idle(self, limit_s):
        """Waits until all that clients which are dead by now have sent was answered by the store; False if it
        is not.  They are accepted in turn, so that none of theirs comes after one of our own."""
        until = time.monotonic() + limit_s
        with socket.create_connection(("127.0.0.1", self.port), timeout=limit_s) as s:
            s.shutdown(socket.SHUT_WR)
            s.recv(1)
        while self.open:
            if time.monotonic() > until:
                return False
            time.sleep(0.002)
        return True

    def refuse(self):
        """Closes it, and every connection."""
        self.listener.shutdown()
        self.listener.server_close()
        self.thread.join()
        self.cut()

    def cut(self):
        with self.lock:
            for h in self.handlers:
                h.cut()

    def watch(self, on_sent=None, on_answered=None):
        """Counts batches from one on."""
        with self.lock:
            self.batches, self.on_sent, self.on_answered = 0, on_sent, on_answered

    def next_batch(self):
        with self.lock:
            self.batches += 1
            return self.batches


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    proxy = None

    def process_request(self, request, client_address):
        with self.proxy.lock:
            self.proxy.open += 1
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        super().shutdown_request(request)
        with self.proxy.lock:
            self.proxy.open -= 1

    def handle_error(self, request, client_address):
        """A connection that was cut is none."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.proxy = self.server.proxy
        self.is_cut = False
        self.store = http.client.HTTPConnection("127.0.0.1", self.proxy.target, timeout=600)
        with self.proxy.lock:
            self.proxy.handlers.add(self)

    def finish(self):
        with self.proxy.lock:
            self.proxy.handlers.discard(self)
        self.store.close()
        try:
            super().finish()
        except OSError:
            pass

    def cut(self):
        self.is_cut = True
        for s in (self.store.sock, self.connection):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except (AttributeError, OSError):
                pass

    def log_message(self, *_args):
        pass

    def pass_on(self):
        p = self.proxy
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        p.gate.wait()
        if self.is_cut or len(body) < length:
            self.close_connection = True
            return
        n = p.next_batch() if (self.command, self.path.split("?")[0]) == p.batch else None
        try:
            self.store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                self.store.putheader(name, value)
            self.store.endheaders(body or None)
            if n and p.on_sent:
                p.on_sent(n)
            answer = self.store.getresponse()
            data = answer.read()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length"):
                    self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            if n and p.on_answered:
                p.on_answered(n)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
            self.cut()

    do_DELETE = do_GET = do_PATCH = do_POST = do_PUT = pass_on
