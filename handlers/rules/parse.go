package rules

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/types"
)

// The bounds of an expression. With them and without the functions that are missing below, a row takes time in proportion
// to its size.
const (
	maxText  = 4096
	maxNodes = 500
)

// functions are those an expression may call. What is not here makes something large of something small (repeat, replace,
// join, reduce), is different each time (now, and keys as a map has no order), or is of no use for a yes or no.
var functions = []string{
	"all", "any", "none", "one", "count", "filter", "map", "find", "sum", "min", "max",
	"len", "first", "last", "get", "type",
	"abs", "ceil", "floor", "round", "int", "float", "string",
	"lower", "upper", "trim", "trimPrefix", "trimSuffix", "split", "indexOf", "lastIndexOf", "hasPrefix", "hasSuffix",
}

// limits are the options of every compilation.
func limits() []expr.Option {
	out := []expr.Option{expr.DisableAllBuiltins(), expr.MaxNodes(maxNodes), expr.AsBool()}
	for _, f := range functions {
		out = append(out, expr.EnableBuiltin(f))
	}
	return out
}

// parse compiles the expression for rows of any schema: what a name stands for shows when a row is looked at.
func (r *Rule) parse() error {
	where := r.spec.Where
	if len(where) > maxText {
		return fmt.Errorf("the expression has more than %d bytes", maxText)
	}
	c := conf.CreateNew()
	for _, option := range limits() {
		option(c)
	}
	for f := range c.Disabled {
		delete(c.Builtins, f)
	}
	tree, err := parser.ParseWithConfig(where, c)
	if err != nil {
		return mistake(err)
	}
	w := &walker{names: map[string]int{}}
	ast.Walk(&tree.Node, w)
	if w.wrong != nil {
		return mistake(w.wrong.Bind(tree.Source))
	}
	env := types.Map{}
	for text, at := range w.names {
		env[text] = types.Any
		r.names = append(r.names, name{text, at})
	}
	slices.SortFunc(r.names, func(a, b name) int { return cmp.Compare(a.at, b.at) })
	r.program, err = expr.Compile(where, append(limits(), append(nullSafe(), expr.Env(env))...)...)
	if err != nil {
		return mistake(err)
	}
	return nil
}

// mistake is the error of an expression on one line: where, and what.
func mistake(err error) error {
	var at *file.Error
	if errors.As(err, &at) {
		return fmt.Errorf("%d:%d: %s", max(at.Line, 1), at.Column+1, at.Message)
	}
	return err
}

// walker collects the names in an expression, and finds what is not allowed in one.
type walker struct {
	names map[string]int
	wrong *file.Error
}

// Visit looks at one node.
func (w *walker) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if at, ok := w.names[n.Value]; !ok || n.Location().From < at {
			w.names[n.Value] = n.Location().From
		}
	case *ast.CallNode:
		if f, ok := n.Callee.(*ast.IdentifierNode); ok {
			w.refuse(n, "there is no function %s", f.Value)
		} else {
			w.refuse(n, "what a row holds can't be called")
		}
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		w.refuse(*node, "variables and sequences are not supported")
	case *ast.BinaryNode:
		if n.Operator == ".." {
			w.refuse(n, "ranges are not supported; compare with both ends")
		}
	case *ast.BuiltinNode:
		for _, arg := range n.Arguments {
			if p, ok := arg.(*ast.PredicateNode); ok && inner(p.Node) != nil {
				w.refuse(inner(p.Node), "a predicate inside of a predicate is not supported")
			}
		}
	}
}

func inner(n ast.Node) ast.Node {
	return ast.Find(n, func(n ast.Node) bool {
		_, ok := n.(*ast.PredicateNode)
		return ok
	})
}

func (w *walker) refuse(n ast.Node, format string, args ...any) {
	if w.wrong == nil || n.Location().From < w.wrong.From {
		w.wrong = &file.Error{Location: n.Location(), Message: fmt.Sprintf(format, args...)}
	}
}
