#include "flash.cuh"

FLASH(64, 2, 64, 2, 64, 2, 32, 1)
