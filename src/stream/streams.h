/* streams.h - the types of this room, and what they learn at import. */
#ifndef CA_STREAM_STREAMS_H
#define CA_STREAM_STREAMS_H

#include "stream/call.h"
#include "stream/protocol.h"
#include "stream/reader.h"
#include "stream/writer.h"

/* Remember how asyncio's classes look; once, when the types exist.  0 or
 * -1. */
int ca_streams_init(ca_state *st);

#endif
