#include "hoppergrad.cuh"

HOPPER_FORWARD(64, 2, 64, 2)
HOPPER_DQ(64, 1, 64, 1, 3)
HOPPER_DKV(64, 1, 64, 2)
