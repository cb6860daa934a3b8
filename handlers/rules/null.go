package rules

import (
	"cmp"
	"slices"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
)

// Expressions fail on a null where Milvus's own say no. So here comparisons with what can't be compared, a null or a value
// of another kind in a JSON, are false, and what is used as a condition is true only if it is true.

// comparisons are the functions that take the place of operators. No field can have such a name.
var comparisons = map[string]func(order int) bool{
	"<":  func(order int) bool { return order < 0 },
	"<=": func(order int) bool { return order <= 0 },
	">":  func(order int) bool { return order > 0 },
	">=": func(order int) bool { return order >= 0 },
}

func nullSafe() []expr.Option {
	out := []expr.Option{expr.Patch(patcher{})}
	for operator, holds := range comparisons {
		out = append(out, expr.Function(operator, func(args ...any) (any, error) {
			order, ok := compare(args[0], args[1])
			return ok && holds(order), nil
		}, new(func(any, any) bool)))
	}
	return out
}

// compare orders two numbers or two strings. Anything else can't be compared, and neither can NaN.
func compare(a, b any) (order int, ok bool) {
	if x, isText := a.(string); isText {
		y, isText := b.(string)
		return cmp.Compare(x, y), isText
	}
	x, isInt := integer(a)
	if y, ok := integer(b); ok && isInt {
		return cmp.Compare(x, y), true
	}
	f, okF := number(a)
	g, okG := number(b)
	return cmp.Compare(f, g), okF && okG && f == f && g == g
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	}
	return 0, false
}

func number(v any) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	i, ok := integer(v)
	return float64(i), ok
}

// patcher puts comparisons and conditions in place.
type patcher struct{}

// Visit changes one node.
func (patcher) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BinaryNode:
		if _, ok := comparisons[n.Operator]; ok {
			ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: n.Operator}, Arguments: []ast.Node{n.Left, n.Right}})
			return
		}
		switch n.Operator {
		case "and", "&&", "or", "||":
			n.Left, n.Right = condition(n.Left), condition(n.Right)
		}
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			n.Node = condition(n.Node)
		}
	case *ast.ConditionalNode:
		n.Cond = condition(n.Cond)
	case *ast.BuiltinNode:
		if slices.Contains(predicates, n.Name) {
			for _, arg := range n.Arguments {
				if p, ok := arg.(*ast.PredicateNode); ok {
					p.Node = condition(p.Node)
				}
			}
		}
	}
}

// predicates are the functions whose predicate is a condition.
var predicates = []string{"all", "any", "none", "one", "count", "filter", "find"}

// condition makes a condition of what may be null.
func condition(n ast.Node) ast.Node {
	switch n.(type) {
	case *ast.IdentifierNode, *ast.MemberNode, *ast.ChainNode, *ast.PointerNode, *ast.BuiltinNode, *ast.ConditionalNode:
	default:
		return n
	}
	is := &ast.BinaryNode{Operator: "==", Left: n, Right: &ast.BoolNode{Value: true}}
	is.SetLocation(n.Location())
	return is
}
