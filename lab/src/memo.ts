import { Component, type ComponentChildren } from "preact";

/** Draw something again only when one of its properties is another; it may not use hooks. */
export function memo<P extends object>(draw: (props: P) => ComponentChildren) {
  return class extends Component<P> {
    shouldComponentUpdate(next: Readonly<P>): boolean {
      const before = this.props as Record<string, unknown>;
      return Object.entries(next).some(([name, one]) => name !== "children" && before[name] !== one);
    }

    render() {
      return draw(this.props as P);
    }
  };
}
