#include "flash.cuh"
#include "decode.cuh"

FLASH(96, 2, 64, 2, 32, 1, 64, 1)
DECODE(96, 128)
