/* names.h - the strings that are interned once: st->names[CA_STR_x] is "x".
 *
 * One list; a new name is one more row, in any place.
 */
#ifndef CA_PY_NAMES_H
#define CA_PY_NAMES_H

#define CA_NAMES(X) \
    X(callback) \
    X(context) \
    X(family) \
    X(_sslobj) \
    X(delay) \
    X(when) \
    X(name) \
    X(eager_start) \
    X(coro) \
    X(run) \
    X(_run) \
    X(_cancelled) \
    X(fileno) \
    X(time) \
    X(call_at) \
    X(_run_once) \
    X(_transports) \
    X(data) \
    X(Future) \
    X(Task) \
    X(_callback_failed) \
    X(_callback_slow) \
    X(_check_callback) \
    X(_run_forever_setup) \
    X(_run_forever_cleanup) \
    X(_set_coroutine_origin_tracking) \
    X(_repr_info) \
    X(call_soon) \
    X(call_later) \
    X(call_soon_threadsafe) \
    X(create_task) \
    X(_ensure_fd_no_transport) \
    X(fd) \
    X(loop) \
    X(add_reader) \
    X(add_writer) \
    X(_add_reader) \
    X(_add_writer) \
    X(remove_reader) \
    X(remove_writer) \
    X(_remove_reader) \
    X(_remove_writer) \
    X(enabled) \
    X(set_debug) \
    X(throw) \
    X(cancel) \
    X(result) \
    X(get_loop) \
    X(_loop) \
    X(_asyncio_future_blocking) \
    X(add_done_callback) \
    X(close) \
    X(is_running) \
    X(send) \
    X(is_closing) \
    X(_read_eof) \
    X(_read_failed) \
    X(_read_ready) \
    X(_write_ready) \
    X(_log_eof) \
    X(_log_pause) \
    X(_log_resume) \
    X(_log_lost) \
    X(_flow_failed) \
    X(_fatal_error) \
    X(eof_received) \
    X(data_received) \
    X(get_buffer) \
    X(buffer_updated) \
    X(pause_writing) \
    X(resume_writing) \
    X(set_result) \
    X(connection_made) \
    X(connection_lost) \
    X(_call_connection_lost) \
    X(_force_close) \
    X(_attach) \
    X(_detach) \
    X(_sockets) \
    X(_clients) \
    X(_new) \
    X(__class__) \
    X(add) \
    X(_fail_empty_waiter) \
    X(_start) \
    X(cancelled) \
    X(_make_sock) \
    X(_dropped) \
    X(_accept_connection) \
    X(_accepted) \
    X(_accept_failed) \
    X(_connection_failed) \
    X(_make_socket_transport) \
    X(_start_serving) \
    X(feed_data) \
    X(_stream_reader_wr) \
    X(_eof) \
    X(_buffer) \
    X(_waiter) \
    X(_limit) \
    X(_transport) \
    X(_protocol) \
    X(_reader) \
    X(_paused) \
    X(pause_reading) \
    X(set_protocol) \
    X(protocol) \
    X(write) \
    X(writelines) \
    X(list_of_data) \
    X(addr) \
    X(datagram_received) \
    X(sendto) \
    X(_error_received) \
    X(create_future) \
    X(_log_closed) \
    X(_maybe_pause_protocol) \
    X(_maybe_resume_protocol) \
    X(read) \
    X(readexactly) \
    X(readline) \
    X(readuntil) \
    X(__anext__) \
    X(n) \
    X(separator) \
    X(feed_eof) \
    X(set_exception) \
    X(exc) \
    X(exception) \
    X(at_eof) \
    X(_wakeup_waiter) \
    X(_maybe_resume_transport) \
    X(_wait_for_data) \
    X(resume_reading) \
    X(limit) \
    X(join) \
    X(__init__) \
    X(__del__) \
    X(_stream_reader) \
    X(_drain_helper) \
    X(_get_close_waiter) \
    X(_closed) \
    X(_connection_lost) \
    X(drain) \
    X(wait_closed) \
    X(timeout) \
    X(return_exceptions) \
    X(_make_cancelled_error) \
    X(uncancel) \
    X(cr_await) \
    X(_on_timeout) \
    X(_on_task_done) \
    X(_decref_socketios) \
    X(_sendto_unusual) \
    X(_ready) \
    X(pending) \
    X(_do_handshake) \
    X(_do_flush) \
    X(_do_shutdown) \
    X(_read_later) \
    X(_do_write) \
    X(_call_eof_received) \
    X(_start_shutdown)

#define CA_NAME_INDEX(name) CA_STR_##name,
enum {
    CA_NAMES(CA_NAME_INDEX) CA_STR_COUNT,
};
#undef CA_NAME_INDEX

struct ca_state;

/* Make all of them, and the tuples of keyword names: 0 or -1. */
int ca_names_init(struct ca_state *st);

void ca_names_clear(struct ca_state *st);

#endif
