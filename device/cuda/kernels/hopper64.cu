#include "hoppergrad.cuh"

HOPPER_FORWARD(64, 4, 64, 4)
HOPPER_DQ(64, 3, 64, 4)
HOPPER_DKV(64, 3, 64, 5)
