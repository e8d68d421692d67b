"""Changes of coordinates that leave a model's function alone: drawn at random, or toward another model's."""

from takeback.gauge.align import aligned as aligned
from takeback.gauge.scramble import regauged as regauged
