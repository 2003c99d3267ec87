#include "flash.cuh"
#include "decode.cuh"

FLASH(128, 2, 32, 2, 32, 1, 32, 1)
DECODE(128, 128)
