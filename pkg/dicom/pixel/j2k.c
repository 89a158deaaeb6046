#include "j2k.h"

#include <openjpeg-2.5/openjpeg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Debian builds OpenJPEG with assertions, and malformed HTJ2K code-blocks fail them: mel_init of 2.5.0 expects that a byte follows
// the rules of stuffing, which nobody has checked. Such an assertion must not end the process. So this function takes the place of
// the C library's (the linker exports it to the shared library that calls it) and goes back to the decoding thread's
// noctua_j2k_decode. OpenJPEG works on the calling thread; what it holds is then freed as after any other failure.
static _Thread_local jmp_buf *assertion_escape;

void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function) {
    if (assertion_escape != NULL) longjmp(*assertion_escape, 1);
    fprintf(stderr, "%s:%u: %s: assertion %s failed\n", file, line, function, assertion);
    abort();
}

struct source {
    const unsigned char *data;
    size_t size, pos;
};

static OPJ_SIZE_T source_read(void *to, OPJ_SIZE_T n, void *user) {
    struct source *s = user;
    if (s->pos >= s->size) return (OPJ_SIZE_T)-1;
    if (n > s->size - s->pos) n = s->size - s->pos;
    memcpy(to, s->data + s->pos, n);
    s->pos += n;
    return n;
}

static OPJ_OFF_T source_skip(OPJ_OFF_T n, void *user) {
    struct source *s = user;
    if (n < 0 || (OPJ_UINT64)n > s->size - s->pos) return -1;
    s->pos += (size_t)n;
    return n;
}

static OPJ_BOOL source_seek(OPJ_OFF_T to, void *user) {
    struct source *s = user;
    if (to < 0 || (OPJ_UINT64)to > s->size) return OPJ_FALSE;
    s->pos = (size_t)to;
    return OPJ_TRUE;
}

struct complaint {
    char *text;
    size_t size;
};

// keep holds on to the first error: those that follow are its consequences.
static void keep(const char *text, void *user) {
    struct complaint *c = user;
    if (c->text[0] == 0) snprintf(c->text, c->size, "%s", text);
}

static void ignore(const char *text, void *user) {
    (void)text;
    (void)user;
}

static int fits(const opj_image_t *image, const struct noctua_j2k_shape *shape, int decoded) {
    if (image->numcomps != shape->components) return 0;
    for (unsigned c = 0; c < shape->components; c++) {
        const opj_image_comp_t *k = &image->comps[c];
        if (k->w != shape->width || k->h != shape->height || k->prec != shape->bits || k->sgnd != shape->is_signed || k->dx != 1 || k->dy != 1) return 0;
        if (decoded && k->data == NULL) return 0;
    }
    return 1;
}

static int decode(opj_codec_t *codec, opj_stream_t *stream, opj_image_t **image, const struct noctua_j2k_shape *shape, struct complaint *complaint) {
    opj_dparameters_t parameters;
    opj_set_default_decoder_parameters(&parameters);
    if (!opj_setup_decoder(codec, &parameters)) return 1;
    if (!opj_read_header(stream, codec, image)) return 1;
    if (!fits(*image, shape, 0)) {
        keep("it describes its picture twice, differently", complaint);
        return 1;
    }
    if (!opj_decode(codec, stream, *image) || !opj_end_decompress(codec, stream)) return 1;
    if (!fits(*image, shape, 1)) {
        keep("a component is missing", complaint);
        return 1;
    }
    return 0;
}

int noctua_j2k_decode(const unsigned char *data, size_t size, const struct noctua_j2k_shape *shape, unsigned bytes, unsigned char *out, char *message,
                      size_t message_size) {
    struct source source = {data, size, 0};
    struct complaint complaint = {message, message_size};
    message[0] = 0;
    int failed = 1;
    opj_image_t *volatile image = NULL;
    opj_codec_t *codec = opj_create_decompress(OPJ_CODEC_J2K);
    opj_stream_t *stream = opj_stream_create(size < OPJ_J2K_STREAM_CHUNK_SIZE ? size : OPJ_J2K_STREAM_CHUNK_SIZE, OPJ_STREAM_READ);
    if (codec != NULL && stream != NULL) {
        opj_set_info_handler(codec, ignore, NULL);
        opj_set_warning_handler(codec, ignore, NULL);
        opj_set_error_handler(codec, keep, &complaint);
        opj_stream_set_user_data(stream, &source, NULL);
        opj_stream_set_user_data_length(stream, size);
        opj_stream_set_read_function(stream, source_read);
        opj_stream_set_skip_function(stream, source_skip);
        opj_stream_set_seek_function(stream, source_seek);
        jmp_buf escape;
        if (setjmp(escape) == 0) {
            assertion_escape = &escape;
            failed = decode(codec, stream, (opj_image_t **)&image, shape, &complaint);
        } else {
            keep("a block is not encoded as it must be", &complaint);
        }
        assertion_escape = NULL;
    }
    if (!failed) {
        size_t count = (size_t)shape->width * shape->height, step = (size_t)shape->components * bytes;
        for (unsigned c = 0; c < shape->components; c++) {
            const OPJ_INT32 *from = image->comps[c].data;
            unsigned char *to = out + (size_t)c * bytes;
            for (size_t i = 0; i < count; i++, to += step) {
                to[0] = (unsigned char)from[i];
                if (bytes == 2) to[1] = (unsigned char)((OPJ_UINT32)from[i] >> 8);
            }
        }
    }
    opj_image_destroy(image);
    if (stream != NULL) opj_stream_destroy(stream);
    if (codec != NULL) opj_destroy_codec(codec);
    return failed;
}
