"""The shop, release 1.0: orders with one name for the customer and whole euros."""

import html
import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.parse

import pymysql

from shop import GONE, MASTER, READ_ONLY, READS, SERVER, SETTINGS, code, say

RELEASE = "1.0"
SCHEMA_VERSION = 1
LATEST = "SELECT number, customer_name, amount, state FROM orders ORDER BY id DESC LIMIT 10"
ONE = "SELECT number, customer_name, amount, state, processed_by FROM orders WHERE number = %s"
NEW = "INSERT INTO orders (number, customer_name, amount, created_by) VALUES (%s, %s, %s, %s)"
PROBE = "SELECT id, number, customer_name, amount, state FROM orders ORDER BY id DESC LIMIT 1"


def order(values):
    """The values of an order, from what a client sent."""
    customer = values.get("customer") or "Ada Lovelace"
    amount = int(values.get("amount") or 10)
    if not 0 <= amount < 1_000_000:
        raise ValueError(amount)
    return [values["number"], str(customer)[:120], amount, SERVER]


def shown(row):
    number, customer, amount, state = row[:4]
    return {"number": number, "customer": customer, "amount": f"{amount} EUR", "state": state}


# --- from here on both releases are alike ---------------------------------------------------------


def schema_fits(pool):
    found = pool.read("SELECT MAX(version) FROM schema_version")[0][0]
    if found != SCHEMA_VERSION:
        return f"schema is at {found}, release {RELEASE} needs {SCHEMA_VERSION}"
    pool.read(PROBE)
    return None


def read(statement, values=()):
    """From the slave for reads; from the master while that one cannot be reached."""
    try:
        return READS.read(statement, values)
    except (pymysql.MySQLError, OSError) as error:
        if READS is MASTER or (isinstance(error, pymysql.MySQLError) and code(error) not in GONE):
            raise
        return MASTER.read(statement, values)


class Refused(Exception):
    """An answer other than 200: status, text."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = f"shop/{RELEASE}"
    sys_version = ""
    wbufsize = -1  # head and body leave in one packet
    disable_nagle_algorithm = True
    timeout = 60

    def answer(self, status, body, kind="application/json"):
        data = (body if isinstance(body, str) else json.dumps(body) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Release", RELEASE)
        self.send_header("X-App-Server", HEADER_NAME)
        if self.server.ending:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.wfile.flush()

    def guarded(self, work):
        self.server.begin()
        try:
            try:
                work()
            except Refused as refused:
                self.answer(refused.args[0], {"error": refused.args[1], "release": RELEASE})
            except pymysql.MySQLError as error:
                say(self.command, self.path, error)
                away = code(error) in GONE or code(error) in READ_ONLY
                self.answer(503 if away else 500, {"error": f"database: {error}", "release": RELEASE})
            except OSError as error:
                if isinstance(error, (BrokenPipeError, ConnectionResetError)):
                    raise
                say(self.command, self.path, error)
                self.answer(503, {"error": str(error), "release": RELEASE})
            except Exception as error:  # a bug must cost one answer, not the connection's thread
                say(self.command, self.path, repr(error))
                self.answer(500, {"error": "internal", "release": RELEASE})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.server.end()

    def do_GET(self):
        self.guarded(self.get)

    do_HEAD = do_GET

    def do_POST(self):
        self.guarded(self.post)

    def get(self):
        path = urllib.parse.urlsplit(self.path).path
        if path == "/":
            self.answer(200, page(read(LATEST)), "text/html")
        elif path == "/health":
            self.health()
        elif path == "/version":
            self.answer(200, {"release": RELEASE, "server": SERVER, "schema": SCHEMA_VERSION, "process": os.getpid()})
        elif path.startswith("/orders/"):
            # A customer who just ordered must find it: from the master, which needs no catching up.
            rows = MASTER.read(ONE, (urllib.parse.unquote(path[len("/orders/"):]),))
            if not rows:
                raise Refused(404, "no such order")
            self.answer(200, {**shown(rows[0]), "release": RELEASE, "server": SERVER})
        else:
            raise Refused(404, "no such page")

    def health(self):
        why = schema_fits(MASTER)
        if why is None and READS is not MASTER:
            try:
                why = schema_fits(READS)
            except (pymysql.MySQLError, OSError) as error:
                # Nobody there: reads go to the master meanwhile. There, but with another schema: no.
                if isinstance(error, pymysql.MySQLError) and code(error) not in GONE:
                    raise
        if why:
            raise Refused(503, why)
        self.answer(200, {"health": "ok", "release": RELEASE, "server": SERVER})

    def post(self):
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 <= length <= 65536:
            self.close_connection = True
            raise Refused(413, "too long")
        body = self.rfile.read(length).decode("utf-8", "replace")
        if self.path != "/orders":
            raise Refused(404, "no such page")
        try:
            if "json" in self.headers.get("Content-Type", ""):
                values = json.loads(body)
            else:
                values = dict(urllib.parse.parse_qsl(body))
            number = values["number"]
            if not isinstance(number, str) or not 0 < len(number) <= 64 or not number.isprintable():
                raise ValueError
            row = order(values)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise Refused(400, "an order needs a number of 1 to 64 characters, and an amount below 1000000") from None
        try:
            MASTER.write(NEW, row)
        except pymysql.IntegrityError as error:
            if code(error) != 1062:
                raise
            raise Refused(409, "there is an order of that number") from None
        # Only here, after the commit, the client is told.
        self.answer(201, {"number": number, "release": RELEASE, "server": SERVER})

    def log_message(self, *_):
        """HAProxy writes the access log."""


def page(rows):
    lines = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(value))}</td>" for value in shown(row).values()) + "</tr>" for row in rows)
    return (f"<!doctype html><html lang=en><meta charset=utf-8><title>Orders</title><h1>Orders</h1>"
            f"<p>Release {RELEASE} on {html.escape(SERVER)}</p>"
            f"<form method=post action=/orders><input name=number required><button>Order</button></form>"
            f"<table><tr><th>Number<th>Customer<th>Amount<th>State</tr>{lines}</table></html>\n")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, *args):
        self.ending = False
        self.count = 0
        self.quiet = threading.Condition()
        super().__init__(*args)

    def server_bind(self):
        # Not the base class's: that one looks its own name up in the machine's DNS.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address[:2]

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # a client that went away is not worth a word
            say(client_address, repr(error))

    def begin(self):
        with self.quiet:
            self.count += 1

    def end(self):
        with self.quiet:
            self.count -= 1
            self.quiet.notify_all()


HEADER_NAME = "".join(c if c.isascii() and c.isprintable() else "-" for c in SERVER)


def main():
    server = Server((SETTINGS["bind_address"], SETTINGS["port"]), Handler)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # of all threads: it is waited for below
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    say(f"release {RELEASE} on {SETTINGS['bind_address']}:{SETTINGS['port']}")
    signal.sigwait({signal.SIGTERM})
    # Answers under way are finished; whoever is only connected is not waited for.
    server.ending = True
    server.shutdown()
    server.socket.close()
    end = time.monotonic() + 5
    with server.quiet:
        while server.count and time.monotonic() < end:
            server.quiet.wait(0.1)
    say("ended")
    os._exit(0)


main()
