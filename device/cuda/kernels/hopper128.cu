#include "hoppergrad.cuh"

HOPPER_FORWARD(128, 2, 64, 1)
HOPPER_DQ(128, 2, 64, 2, 1)
HOPPER_DKV(128, 2, 64, 1)
