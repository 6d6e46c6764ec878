// Socket addresses: making the ones that need no lookup, and reading their family.
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "runtime/assert.h"
#include "runtime/cold.h"
#include "runtime/stream.h"
#include "weir.h"

_Static_assert(sizeof(struct sockaddr_un) <= sizeof(((struct weir_address *)0)->bytes), "fits");

WEIR_COLD int weir_address_unix(struct weir_address *address, const char *path)
{
    struct sockaddr_un native = {.sun_family = AF_UNIX};
    size_t path_bytes = strlen(path);
    bool abstract = path[0] == '@';
    // A path keeps its final zero; an abstract name is counted and may fill the field.
    size_t used_bytes = abstract ? path_bytes : path_bytes + 1;
    if (path_bytes == 0) {
        return -EINVAL; // the kernel would take it for an abstract name
    }
    if (used_bytes > sizeof(native.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(native.sun_path, path, path_bytes);
    if (abstract) {
        native.sun_path[0] = '\0';
    }
    memset(address, 0, sizeof(*address));
    memcpy(address->bytes, &native, sizeof(native));
    address->bytes_count = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + used_bytes);
    return 0;
}

WEIR_COLD int weir_address_family(const struct weir_address *address)
{
    sa_family_t family = 0;
    weir_assert(address->bytes_count >= sizeof(family));
    memcpy(&family, address->bytes, sizeof(family));
    return family;
}
