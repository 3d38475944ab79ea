/* tls_openssl.c - see tls_openssl.h. */
#include "transport/tls_openssl.h"

#include "base/oldlibc.h"

#include <string.h>

static const char *const symbols[] = {
    "SSL_get_SSL_CTX",     "SSL_read_ex",       "SSL_write_ex",
    "SSL_get_error",       "SSL_set_bio",       "SSL_set_read_ahead",
    "SSL_has_pending",     "ERR_clear_error",   "ERR_peek_error",
    "OpenSSL_version_num", "BIO_new",           "BIO_free",
    "BIO_up_ref",          "BIO_set_data",      "BIO_get_data",
    "BIO_set_init",        "BIO_set_flags",     "BIO_clear_flags",
    "BIO_get_new_index",   "BIO_meth_new",      "BIO_meth_set_read",
    "BIO_meth_set_write",  "BIO_meth_set_ctrl", "BIO_meth_set_destroy",
};
enum { N_SYMBOLS = sizeof(symbols) / sizeof(symbols[0]) };
_Static_assert(sizeof(ca_openssl_functions) == N_SYMBOLS * sizeof(void *),
               "a name for every function");

ca_openssl_functions ca_openssl;
static PyTypeObject *socket_type;      /* borrowed: compared, never followed */
static size_t ssl_word;                /* where the SSL* is, in words */

/* ---- the library ---- */

/* Whether names mean to _ssl what they mean to us: it was linked by the order
 * of the process, in which another copy may stand first (LD_PRELOAD, a program
 * that is linked with its own), and we ask its own dependencies.  Two copies
 * have two error queues. */
static bool
is_shadowed(const char *name, const void *found)
{
    const void *first = ca_oldlibc_symbol(NULL, name);
    return first != NULL && first != found;
}

bool
ca_openssl_load(const char *file)
{
    void *handle = ca_oldlibc_open_loaded(file);
    if (handle == NULL) {
        return false;
    }
    ca_openssl_functions found;
    for (int i = 0; i < N_SYMBOLS; i++) {
        void *symbol = ca_oldlibc_symbol(handle, symbols[i]);
        if (symbol == NULL || is_shadowed(symbols[i], symbol)) {
            ca_oldlibc_close(handle);
            return false;
        }
        memcpy((char *)&found + (size_t)i * sizeof(symbol), &symbol,
               sizeof(symbol));
    }
    ca_openssl = found;                /* the handle stays open with it */
    return true;
}

/* ---- the SSL* ---- */

/* The word of an _ssl._SSLSocket at `i` if the pattern is there, else NULL. */
static void *
ssl_at(PyObject *sslobj, size_t i, PyObject *context)
{
    void *const *words = (void *const *)sslobj;
    void *const *of_context = (void *const *)context;
    size_t head = sizeof(PyObject) / sizeof(void *);
    if (words[i - 1] != NULL || words[i] == NULL || words[i + 1] != context) {
        return NULL;
    }
    return ca_openssl.SSL_get_SSL_CTX(words[i]) == of_context[head] ? words[i]
                                                                    : NULL;
}

bool
ca_openssl_learn(PyObject *sslobj, PyObject *context)
{
    size_t head = sizeof(PyObject) / sizeof(void *);
    size_t words = (size_t)Py_TYPE(sslobj)->tp_basicsize / sizeof(void *);
    for (size_t i = head + 1; i + 1 < words; i++) {
        if (ssl_at(sslobj, i, context) != NULL) {
            ssl_word = i;
            socket_type = Py_TYPE(sslobj);
            return true;
        }
    }
    return false;
}

bool
ca_openssl_knows(PyObject *sslobj)
{
    return socket_type != NULL && Py_TYPE(sslobj) == socket_type;
}

void *
ca_openssl_ssl_borrow(PyObject *sslobj, PyObject *context)
{
    return ssl_at(sslobj, ssl_word, context);
}
