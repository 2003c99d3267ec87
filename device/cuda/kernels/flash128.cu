#include "flash.cuh"

FLASH(128, 2, 64, 2, 32, 1, 32, 1)
