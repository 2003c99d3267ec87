#include "flash.cuh"

FLASH(256, 1, 32, 1, 16, 1, 16, 2)
