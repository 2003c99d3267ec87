#include "flash.cuh"

FLASH(96, 2, 64, 2, 32, 1, 64, 1)
