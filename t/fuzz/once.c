
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/* runs a fuzzer without libFuzzer, once for each file: once FILE ... */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>


#define ONCE_SIZE  131072


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
main(int argc, char **argv)
{
    int       i;
    FILE     *file;
    size_t    size;
    uint8_t  *data;

    LLVMFuzzerInitialize(&argc, &argv);

    for (i = 1; i < argc; i++) {

        data = malloc(ONCE_SIZE);
        file = fopen(argv[i], "rb");

        if (data == NULL || file == NULL) {
            fprintf(stderr, "once: cannot read \"%s\"\n", argv[i]);
            return 1;
        }

        size = fread(data, 1, ONCE_SIZE, file);

        LLVMFuzzerTestOneInput(data, size);

        fclose(file);
        free(data);
    }

    return 0;
}
