#include "flash.cuh"
#include "decode.cuh"

FLASH(64, 2, 64, 2, 64, 2, 32, 1)
DECODE(64, 128)
