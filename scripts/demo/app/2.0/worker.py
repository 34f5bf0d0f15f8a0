"""The worker of release 2.0: takes new orders in hand, a few at a time, however many workers there are."""

import signal

import pymysql

from shop import MASTER, SERVER, say

TAKE = "SELECT id, last_name, amount_cents FROM orders WHERE status = 'new' ORDER BY id LIMIT 50 FOR UPDATE SKIP LOCKED"
DONE = "UPDATE orders SET status = 'done', processed_by = %s WHERE id IN %s"

# Waited for, not handled: a handler that sets an Event hangs for ever when it comes inside the Event's own wait().
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def some():
    with MASTER.connection() as connection, connection.cursor() as cursor:
        connection.begin()
        try:
            cursor.execute(TAKE)
            rows = cursor.fetchall()
            if rows:
                cursor.execute(DONE, (SERVER, [row[0] for row in rows]))
            connection.commit()
        except pymysql.MySQLError:
            connection.close()
            raise
        return len(rows)


told, wait = None, 0
while not signal.sigtimedwait({signal.SIGTERM}, wait):
    try:
        wait, now = (0 if some() == 50 else 0.5), "works"
    except (pymysql.MySQLError, OSError) as error:
        wait, now = 1, str(error)
    if now != told:
        say(now)
        told = now
