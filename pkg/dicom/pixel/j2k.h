#ifndef NOCTUA_J2K_H
#define NOCTUA_J2K_H
#include <stddef.h>

// What the caller found in the codestream's header; decoding fails if OpenJPEG sees another picture.
struct noctua_j2k_shape {
    unsigned width, height, components, bits, is_signed;
};

// noctua_j2k_decode decodes a codestream (not a JP2 file) into width * height * components samples of 1 or 2 bytes, lower byte
// first, pixel by pixel. It returns 0, or 1 with a message that may be empty.
int noctua_j2k_decode(const unsigned char *data, size_t size, const struct noctua_j2k_shape *shape, unsigned bytes, unsigned char *out, char *message,
                      size_t message_size);

#endif
