package cpu

import "hone/device"

func vecUnaryDoor(op device.UnaryOp, y, x *float32, n int) bool                     { return false }
func vecUnaryGradDoor(op device.UnaryOp, d, x, dy *float32, n int) bool             { return false }
func vecBinaryDoor(op device.BinaryOp, y, a, b *float32, n int) bool                { return false }
func vecGatedDoor(op device.UnaryOp, y, gate, up *float32, n int) bool              { return false }
func vecGatedGradDoor(op device.UnaryOp, dg, du, gate, up, dy *float32, n int) bool { return false }
func vecAxpyDoor(y, x *float32, n int, a float32) bool                              { return false }
func vecScaleDoor(x *float32, n int, a float32) bool                                { return false }
func vecDropoutDoor(y, x *float32, n int, scale float32, lo, hi, threshold, index uint32) bool {
	return false
}
func vecSumDoor(x *float32, n int, s *float32) bool                     { return false }
func vecSumSquaresDoor(x *float32, n int, sub float32, s *float32) bool { return false }
func vecDotDoor(a, b *float32, n int, s *float32) bool                  { return false }
func vecMaxDoor(x *float32, n int, s *float32) bool                     { return false }
func vecMaxAbsDoor(x *float32, n int, s *float32) bool                  { return false }
func vecNonFiniteDoor(x *float32, n int, s *float32) bool               { return false }
func vecExpSumDoor(y, x *float32, n int, sub float32, s *float32) bool  { return false }
func vecExpMomentsDoor(x *float32, n int, sub float32, s, w *float32) bool {
	return false
}
func vecSoftmaxGradDoor(y, x *float32, n int, lse, a, b, c float32) bool          { return false }
func vecNormScaleDoor(y, x, w *float32, n int, mean, rstd float32) bool           { return false }
func vecNormAffineDoor(y, x, w, b *float32, n int, mean, rstd float32) bool       { return false }
func vecNormDotsDoor(dy, w, x *float32, n int, mean float32, s, sx *float32) bool { return false }
func vecNormGradDoor(dx, dy, x, w, dw *float32, n int, mean, rstd, a, b, c float32) bool {
	return false
}
func vecAdamWDoor(p, g, m, v *float32, n int, scale, beta1, rest1, beta2, rest2, step, corr2, eps, keep float32) bool {
	return false
}
func vecWidenDoor(y *float32, x *uint16, n int) bool { return false }
func vecRoundDoor(y *uint16, x *float32, n int) bool { return false }

func vecBest() vecPath { return pathGeneric }
