import { type ClassMember, type Node, type Param, parseSync, type TsParameterProperty } from '@swc/core';
import type { ProjectFile } from './project.ts';

/** A class and the names of what others may use of it. */
export interface ClassShape {
  readonly path: string;
  readonly name: string;
  readonly publicMembers: readonly string[];
}

/** A function or method and how many parameters it has. */
export interface FunctionShape {
  readonly path: string;
  /** With its class in front, as `Class.method`. */
  readonly name: string;
  readonly parameters: number;
}

export interface Shapes {
  readonly classes: readonly ClassShape[];
  readonly functions: readonly FunctionShape[];
}

/** The classes and functions that files declare. */
export function shapesOf(files: readonly ProjectFile[]): Shapes {
  const classes: ClassShape[] = [];
  const functions: FunctionShape[] = [];
  for (const { path, text } of files) {
    const visit = (node: unknown, owner: string, key = '(class)'): void => {
      if (Array.isArray(node)) {
        for (const child of node) visit(child, owner);
        return;
      }
      if (!isNode(node)) return;
      let inside = owner;
      if (node.type === 'ClassDeclaration' || node.type === 'ClassExpression') {
        inside = nameOf(node.identifier) ?? (owner === '' ? key : `${owner}.${key}`);
        classes.push({ path, name: inside, publicMembers: publicMembersOf(node.body as ClassMember[]) });
      }
      const own = functionOf(node);
      if (own !== null)
        functions.push({
          path,
          name: owner === '' ? own.name : `${owner}.${own.name}`,
          parameters: own.parameters,
        });
      for (const child of Object.values(node)) visit(child, inside, nameOf(node.key));
    };
    visit(parseSync(text, { syntax: 'typescript', target: 'es2022' }).body, '');
  }
  return { classes, functions };
}

type SyntaxNode = Node & Record<string, unknown>;

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null;
}

function functionOf(node: SyntaxNode): { name: string; parameters: number } | null {
  switch (node.type) {
    case 'FunctionDeclaration':
      return { name: nameOf(node.identifier) ?? '', parameters: (node.params as Param[]).length };
    case 'ClassMethod': {
      const { params } = node.function as { params: Param[] };
      return { name: nameOf(node.key) ?? '', parameters: params.length };
    }
    case 'Constructor':
      return { name: 'constructor', parameters: (node.params as (Param | TsParameterProperty)[]).length };
    default:
      return null;
  }
}

function publicMembersOf(body: readonly ClassMember[]): string[] {
  const names = body.flatMap((member) => {
    if (member.type !== 'ClassMethod' && member.type !== 'ClassProperty') return [];
    if (member.accessibility === 'private' || member.accessibility === 'protected') return [];
    return [nameOf(member.key) ?? '[computed]'];
  });
  return [...new Set(names)];
}

function nameOf(key: unknown): string | undefined {
  return isNode(key) && typeof key.value === 'string' ? key.value : undefined;
}
