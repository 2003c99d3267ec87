module hone/device/cpu/_asm

go 1.26.0
