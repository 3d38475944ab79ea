/* streams.c - see streams.h. */
#include "stream/streams.h"

int
ca_streams_init(ca_state *st)
{
    if (ca_usual_learn(st, CA_USUAL_READER, st->ReaderType, st->StreamReader) <
            0 ||
        ca_usual_learn(st, CA_USUAL_PROTOCOL, st->StreamProtocolType,
                       st->StreamReaderProtocol) < 0 ||
        ca_usual_learn(st, CA_USUAL_WRITER, st->WriterType,
                       st->StockStreamWriter) < 0) {
        return -1;
    }
    Py_XSETREF(st->empty_bytes, PyBytes_FromStringAndSize(NULL, 0));
    if (st->empty_bytes == NULL) {
        return -1;
    }
    /* The protocol holds the writer of a server's connection. */
    st->protocol_has_writer = PyObject_HasAttrString(st->StreamReaderProtocol,
                                                     "_replace_writer");
    return 0;
}
