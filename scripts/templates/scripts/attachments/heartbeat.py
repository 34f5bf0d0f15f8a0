"""Touches one row a second in heartbeat.beat while the database beside it takes writes as a master.

Its account may not write while the database is read-only, so a freeze stops it like any other writer.
"""

import json
import sys
import time

import pymysql

BEAT = """INSERT INTO heartbeat.beat (server_id, beaten_at, beats) VALUES (@@server_id, NOW(3), 1)
    ON DUPLICATE KEY UPDATE beaten_at = NOW(3), beats = beats + 1"""
READ_ONLY = 1290


def main():
    with open(sys.argv[1], encoding="utf-8") as opened:
        settings = json.load(opened)
    connection, told = None, None
    while True:
        begun = time.monotonic()
        try:
            if connection is None:
                connection = pymysql.connect(
                    unix_socket=settings["socket"], user=settings["user"], password=settings["password"],
                    autocommit=True, connect_timeout=2, read_timeout=5, write_timeout=5)
            with connection.cursor() as cursor:
                cursor.execute("SELECT @@global.read_only")
                frozen = cursor.fetchone()[0]
                if not frozen:
                    cursor.execute(BEAT)
            now = "read-only: waits" if frozen else "beats"
        except pymysql.MySQLError as error:
            if error.args[0] == READ_ONLY:
                now = "read-only: waits"
            else:
                now = f"{error}"
                if connection is not None:
                    try:
                        connection.close()
                    except pymysql.MySQLError:
                        pass
                connection = None
        if now != told:
            print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), now, flush=True)
            told = now
        time.sleep(max(0.0, begun + 1 - time.monotonic()))


main()
