"""What application, worker and report share: settings, the address of the database, connections."""

import contextlib
import json
import os
import ssl
import sys
import threading
import time

import dns.message
import dns.query
import dns.rdatatype
import pymysql

with open(os.environ["APP_CONFIG"], encoding="utf-8") as opened:
    SETTINGS = json.load(opened)
SERVER = SETTINGS["server_name"]
DATABASE = SETTINGS["database"]
# MySQL sends no password over an open line. Its certificate is its own: encrypted, not verified.
TLS = ssl.create_default_context() if DATABASE.get("tls") == "required" else None
if TLS:
    TLS.check_hostname, TLS.verify_mode = False, ssl.CERT_NONE

GONE = {2003, 2006, 2013, 2014, 2055, 0}  # the connection, not the statement, is to blame
READ_ONLY = {1290, 1792, 1836}
SCHEMA = {1054, 1136, 1146, 1364, 1265, 1406}


def say(*words):
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), *words, file=sys.stderr, flush=True)


class Names:
    """Addresses from the site's own DNS server, kept as long as the answer allows and, while it is silent, longer."""

    def __init__(self, server):
        self.host, _, port = server.rpartition(":")
        self.port = int(port or 53)
        self.known = {}  # name -> (address, monotonic time when it must be asked again)
        self.lock = threading.Lock()

    def address(self, name):
        if not self.host or name.replace(".", "").isdigit():
            return name
        now = time.monotonic()
        address, until = self.known.get(name, (None, 0))
        if now < until:
            return address
        with self.lock:
            address, until = self.known.get(name, (None, 0))
            if now < until:
                return address
            try:
                address, ttl = self.ask(name)
            except Exception as error:  # a silent name server must not stop a site that knows the address
                if address is None:
                    raise OSError(f"{self.host}:{self.port} does not know {name}: {error}") from error
                say("names:", error)
                ttl = 1
            self.known[name] = (address, now + max(ttl, 1))
            return address

    def ask(self, name):
        asked = dns.message.make_query(name, dns.rdatatype.A)
        answer, _ = dns.query.udp_with_fallback(asked, self.host, timeout=2, port=self.port)
        for rrset in answer.answer:
            if rrset.rdtype == dns.rdatatype.A:
                return rrset[0].address, rrset.ttl
        raise LookupError(f"no address for {name}")

    def forget(self):
        self.known.clear()


NAMES = Names(SETTINGS["dns_server"])


class Pool:
    """Connections to one host name. One to an address that the name no longer has is never used again."""

    def __init__(self, name, size=12):
        self.name = name
        self.idle = []  # (address, connection, monotonic time of its return)
        self.places = threading.BoundedSemaphore(size)

    @contextlib.contextmanager
    def connection(self, fresh=False):
        if not self.places.acquire(timeout=5):
            raise OSError("all connections to the database are busy")
        try:
            address = NAMES.address(self.name)
            connection = None if fresh else self.take(address)
            if connection is None:
                connection = pymysql.connect(
                    host=address, port=DATABASE["port"], user=DATABASE["user"], password=DATABASE["password"],
                    database=DATABASE["schema"], autocommit=True, ssl=TLS, ssl_disabled=not TLS, charset="utf8mb4",
                    connect_timeout=2, read_timeout=20, write_timeout=20)
            try:
                yield connection
            except pymysql.MySQLError as error:
                if code(error) in GONE or code(error) in READ_ONLY:
                    # It may be the wrong server by now.
                    NAMES.forget()
                    with contextlib.suppress(pymysql.MySQLError):
                        connection.close()
                else:
                    self.give(address, connection)
                raise
            except BaseException:
                with contextlib.suppress(pymysql.MySQLError):
                    connection.close()
                raise
            self.give(address, connection)
        finally:
            self.places.release()

    def take(self, address):
        while self.idle:
            try:
                where, connection, since = self.idle.pop()
            except IndexError:
                return None
            if where == address and time.monotonic() - since < 1:
                return connection
            if where == address:
                with contextlib.suppress(pymysql.MySQLError, OSError):
                    connection.ping(reconnect=False)
                    return connection
            with contextlib.suppress(pymysql.MySQLError):
                connection.close()
        return None

    def give(self, address, connection):
        self.idle.append((address, connection, time.monotonic()))

    def read(self, statement, values=()):
        """Rows of a statement that may be asked twice."""
        for fresh in (False, True):
            try:
                with self.connection(fresh) as connection, connection.cursor() as cursor:
                    cursor.execute(statement, values)
                    return cursor.fetchall()
            except pymysql.MySQLError as error:
                if fresh or code(error) not in GONE:
                    raise

    def write(self, statement, values=()):
        """One statement, committed when this returns, never sent twice."""
        with self.connection() as connection, connection.cursor() as cursor:
            return cursor.execute(statement, values)


def code(error):
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


MASTER = Pool(DATABASE["host"])
READS = Pool(DATABASE["read_host"]) if DATABASE["read_host"] else MASTER
