#include "hoppergrad.cuh"

HOPPER_FORWARD(128, 3, 64, 4)
HOPPER_DQ(128, 2, 64, 4)
HOPPER_DKV(128, 2, 64, 4)
