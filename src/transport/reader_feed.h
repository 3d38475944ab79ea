/* reader_feed.h - received bytes straight into asyncio's own StreamReader. */
#ifndef CA_TRANSPORT_READER_FEED_H
#define CA_TRANSPORT_READER_FEED_H

#include "py/state.h"

#include <stdbool.h>

/* Remember how asyncio's classes look before anybody changes them; 0 or -1. */
int ca_reader_feed_init(ca_state *st);

/* Whether `protocol` is exactly asyncio's StreamReaderProtocol, or of ours. */
bool ca_reader_feed_serves(const ca_state *st, PyObject *protocol);

/* Whether it keeps a bytes object that it is fed, not a copy. */
bool ca_reader_feed_keeps(const ca_state *st, PyObject *protocol);

/* Do what protocol.data_received(bytes) would do.  1; 0: something is not as
 * usual, call it; -1 with an exception.  `object`: the bytes as an exact bytes
 * object, which may be kept, or NULL.  May run Python. */
int ca_reader_feed(ca_state *st, PyObject *protocol, const char *data,
                   size_t nbytes, PyObject *object);

/* The same for a protocol of our own kind; the room above defines it. */
int ca_stream_protocol_feed(PyObject *protocol, const char *data,
                            size_t nbytes, PyObject *object);

#endif
