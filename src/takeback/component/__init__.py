"""The vocabulary: a component is the smallest named part that can be taken back; every cut takes a set."""

from takeback.component.names import INDEXED_KINDS as INDEXED_KINDS
from takeback.component.names import LAYER_KINDS as LAYER_KINDS
from takeback.component.names import MODEL_KINDS as MODEL_KINDS
from takeback.component.names import NEW_ROWS as NEW_ROWS
from takeback.component.names import TENSOR as TENSOR
from takeback.component.names import Component as Component
from takeback.component.names import layer_in as layer_in
from takeback.component.names import natural as natural
from takeback.component.picture import MOST_MARKS as MOST_MARKS
from takeback.component.picture import Place as Place
from takeback.component.picture import text_map as text_map
from takeback.component.sets import ComponentSet as ComponentSet
