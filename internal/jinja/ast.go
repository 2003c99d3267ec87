package jinja

// expr is an expression.
type expr interface{}

type (
	// Expressions. The names follow jinja2's nodes.py: Const, Name, List and Tuple, Dict, CondExpr, And and Or, Not, Compare, BinExpr,
	// Neg and Pos, Concat, Getattr, Getitem, Slice, Call, Filter, Test, NSRef.
	constExpr struct{ value any }
	nameExpr  struct{ name string }
	listExpr  struct {
		items []expr
		tuple bool
	}
	dictExpr struct{ keys, values []expr }
	condExpr struct{ test, yes, no expr } // no is nil when left out
	boolExpr struct {
		and         bool
		left, right expr
	}
	notExpr     struct{ x expr }
	compareExpr struct {
		first expr
		ops   []comparison
	}
	comparison struct {
		op string
		x  expr
	}
	binaryExpr struct {
		op          string
		left, right expr
	}
	unaryExpr struct {
		op string
		x  expr
	}
	concatExpr struct{ items []expr }
	attrExpr   struct {
		x    expr
		name string
	}
	indexExpr struct{ x, index expr }
	sliceExpr struct{ lo, hi, step expr } // each may be nil
	callExpr  struct {
		fn   expr
		args arguments
	}
	filterExpr struct {
		x    expr // nil: the body of a block
		name string
		args arguments
	}
	testExpr struct {
		x    expr
		name string
		args arguments
	}
	nsExpr struct{ name, attr string } // ns.attr as a target
)

// arguments of a call as written.
type arguments struct {
	pos      []expr
	names    []string // of the keywords
	keywords []expr
	star     expr // *x
	starstar expr // **x
}

// stmt is a statement.
type stmt interface{}

type (
	// Statements. A line is where the tag stands, for errors.
	textStmt   struct{ text string }
	outputStmt struct {
		line int
		x    expr
	}
	ifStmt struct {
		line int
		test expr
		then []stmt
		els  []stmt
	}
	forStmt struct {
		line      int
		target    expr
		iter      expr
		test      expr
		recursive bool
		body, els []stmt
	}
	setStmt struct {
		line   int
		target expr
		x      expr
	}
	setBlock struct {
		line   int
		target expr
		filter expr
		body   []stmt
	}
	macroStmt struct {
		line     int
		name     string
		params   []string
		defaults []expr // of the last params
		body     []stmt
		uses     map[string]bool // varargs, kwargs and caller, where the body names them
	}
	callStmt struct {
		line  int
		call  *callExpr
		macro *macroStmt // the body
	}
	filterStmt struct {
		line   int
		filter expr
		body   []stmt
	}
	withStmt struct {
		line    int
		targets []expr
		values  []expr
		body    []stmt
	}
	generationStmt struct {
		line int
		body []stmt
	}
	breakStmt    struct{}
	continueStmt struct{}
)
