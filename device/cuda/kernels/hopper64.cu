#include "hopper.cuh"

HOPPER_FORWARD(64, 1, 64, 4)
HOPPER_DQ(64, 1, 64, 3)
HOPPER_DKV(64, 1, 64, 2)
