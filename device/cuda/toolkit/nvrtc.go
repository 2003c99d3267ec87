package toolkit

import (
	"fmt"
	"path/filepath"
	"strings"
	"unsafe"

	"hone/internal/dl"
)

// Compiler is NVIDIA's compiler as a library. It needs no card.
type Compiler struct {
	Path    string // of the library
	Version string // e.g. 13.0
	Major   int    // of Version

	create, compile, logSize, log, cubinSize, cubin, free uintptr
	errorString, archCount, archs                         uintptr
}

// OpenCompiler opens the newest compiler for drivers of CUDA up to major (0: of any) in folders or the usual ones.
func OpenCompiler(folders []string, major int) (*Compiler, error) {
	lib, err := NVRTC.Open(folders, major)
	if err != nil {
		return nil, err
	}
	// What it opens when it compiles stands beside it, where the system does not look: 13.0 has no path of its own for it.
	builtins, _ := filepath.Glob(filepath.Join(filepath.Dir(lib.Path), "libnvrtc-builtins.so*")) // the pattern is none of the user's
	if len(builtins) > 0 {
		_, _ = dl.Open(builtins...) // a compiler that cannot do without says so
	}
	n := &Compiler{Path: lib.Path}
	var version uintptr
	err = lib.Functions(map[string]*uintptr{"nvrtcVersion": &version, "nvrtcCreateProgram": &n.create, "nvrtcCompileProgram": &n.compile,
		"nvrtcGetProgramLogSize": &n.logSize, "nvrtcGetProgramLog": &n.log, "nvrtcGetCUBINSize": &n.cubinSize, "nvrtcGetCUBIN": &n.cubin,
		"nvrtcDestroyProgram": &n.free, "nvrtcGetErrorString": &n.errorString, "nvrtcGetNumSupportedArchs": &n.archCount, "nvrtcGetSupportedArchs": &n.archs})
	if err != nil {
		return nil, err
	}
	var major32, minor32 int32
	if err := n.do(version, uintptr(unsafe.Pointer(&major32)), uintptr(unsafe.Pointer(&minor32))); err != nil {
		return nil, err
	}
	n.Major = int(major32)
	n.Version = fmt.Sprintf("%d.%d", major32, minor32)
	return n, nil
}

//go:uintptrescapes
func (n *Compiler) do(function uintptr, args ...uintptr) error {
	if code := int32(dl.Call(function, args...)); code != 0 {
		return fmt.Errorf("NVRTC: %s", dl.String(dl.Call(n.errorString, uintptr(code))))
	}
	return nil
}

// Supported are the architectures that it compiles for, e.g. 80, 90, 100.
func (n *Compiler) Supported() ([]int, error) {
	var count int32
	if err := n.do(n.archCount, uintptr(unsafe.Pointer(&count))); err != nil {
		return nil, err
	}
	list := make([]int32, count)
	if err := n.do(n.archs, uintptr(unsafe.Pointer(unsafe.SliceData(list)))); err != nil {
		return nil, err
	}
	var archs []int
	for _, a := range list {
		archs = append(archs, int(a))
	}
	return archs, nil
}

// Compile makes the code of a file of kernels for a target such as sm_90. log is what the compiler says of registers and memory; the error
// holds what it says is wrong.
func (n *Compiler) Compile(target, name, text string) (code []byte, log string, err error) {
	src, file := append([]byte(text), 0), append([]byte(name+".cu"), 0)
	var program uintptr
	if err := n.do(n.create, uintptr(unsafe.Pointer(&program)), uintptr(unsafe.Pointer(&src[0])), uintptr(unsafe.Pointer(&file[0])), 0, 0, 0); err != nil {
		return nil, "", err
	}
	defer func() { _ = n.do(n.free, uintptr(unsafe.Pointer(&program))) }()
	options := [][]byte{fmt.Appendf(nil, "--gpu-architecture=%s\x00", target), []byte("--std=c++17\x00"), []byte("-lineinfo\x00"), []byte("--ptxas-options=-v\x00")}
	pointers := make([]*byte, len(options))
	for i, o := range options {
		pointers[i] = &o[0]
	}
	if err := n.do(n.compile, program, uintptr(len(options)), uintptr(unsafe.Pointer(&pointers[0]))); err != nil {
		return nil, "", fmt.Errorf("compile %s.cu for %s: %w\n%s", name, target, err, n.logOf(program))
	}
	var size uintptr
	if err := n.do(n.cubinSize, program, uintptr(unsafe.Pointer(&size))); err != nil {
		return nil, "", err
	}
	code = make([]byte, size)
	return code, n.logOf(program), n.do(n.cubin, program, uintptr(unsafe.Pointer(&code[0])))
}

func (n *Compiler) logOf(program uintptr) string {
	var size uintptr
	if err := n.do(n.logSize, program, uintptr(unsafe.Pointer(&size))); err != nil || size <= 1 {
		return ""
	}
	text := make([]byte, size)
	if err := n.do(n.log, program, uintptr(unsafe.Pointer(&text[0]))); err != nil {
		return ""
	}
	return strings.TrimRight(string(text), "\x00")
}
