/* tls_openssl.h - OpenSSL, as Python's _ssl module has it.
 *
 * The library is the one that the module is linked with: it is loaded
 * already, and symbols are looked up through it, so there is never a second
 * libssl and no header of OpenSSL is needed to build.  What is declared here
 * is OpenSSL's ABI since 1.1.1.
 *
 * An SSL* lies in _ssl._SSLSocket behind a weak reference that is NULL and
 * before a pointer to the context; ca_openssl_learn() looks for that pattern
 * and asks SSL_get_SSL_CTX() whether the SSL* belongs to the context, and each
 * connection asks again.
 */
#ifndef CA_TRANSPORT_TLS_OPENSSL_H
#define CA_TRANSPORT_TLS_OPENSSL_H

#include "py/compat.h"

#include <stdbool.h>

typedef struct bio BIO;
typedef struct bio_method BIO_METHOD;

/* The functions of OpenSSL that are used, in the order of their names in
 * tls_openssl.c. */
typedef struct {
    void *(*SSL_get_SSL_CTX)(const void *ssl);
    int (*SSL_read_ex)(void *ssl, void *buffer, size_t size, size_t *done);
    int (*SSL_write_ex)(void *ssl, const void *data, size_t n, size_t *done);
    int (*SSL_get_error)(const void *ssl, int result);
    void (*SSL_set_bio)(void *ssl, BIO *rbio, BIO *wbio);
    void (*SSL_set_read_ahead)(void *ssl, int yes);
    int (*SSL_has_pending)(const void *ssl);
    void (*ERR_clear_error)(void);
    unsigned long (*ERR_peek_error)(void);
    unsigned long (*OpenSSL_version_num)(void);
    BIO *(*BIO_new)(const BIO_METHOD *method);
    int (*BIO_free)(BIO *bio);
    int (*BIO_up_ref)(BIO *bio);
    void (*BIO_set_data)(BIO *bio, void *data);
    void *(*BIO_get_data)(BIO *bio);
    void (*BIO_set_init)(BIO *bio, int init);
    void (*BIO_set_flags)(BIO *bio, int flags);
    void (*BIO_clear_flags)(BIO *bio, int flags);
    int (*BIO_get_new_index)(void);
    BIO_METHOD *(*BIO_meth_new)(int type, const char *name);
    int (*BIO_meth_set_read)(BIO_METHOD *m, int (*f)(BIO *, char *, int));
    int (*BIO_meth_set_write)(BIO_METHOD *m,
                              int (*f)(BIO *, const char *, int));
    int (*BIO_meth_set_ctrl)(BIO_METHOD *m,
                             long (*f)(BIO *, int, long, void *));
    int (*BIO_meth_set_destroy)(BIO_METHOD *m, int (*f)(BIO *));
} ca_openssl_functions;

/* Of the process, as the library is; every interpreter finds the same. */
extern ca_openssl_functions ca_openssl;

/* Find the functions in what `file`, the _ssl module, is linked with. */
bool ca_openssl_load(const char *file);

/* Learn from a fresh _ssl._SSLSocket and its context where the SSL* is; then
 * whether an object is of that type, and its SSL*, or NULL when it is not
 * where it should be. */
bool ca_openssl_learn(PyObject *sslobj, PyObject *context);
bool ca_openssl_knows(PyObject *sslobj);
void *ca_openssl_ssl_borrow(PyObject *sslobj, PyObject *context);

#endif
