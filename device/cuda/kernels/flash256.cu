#include "flash.cuh"
#include "decode.cuh"

FLASH(256, 1, 32, 1, 16, 1, 16, 2)
DECODE(256, 64)
