"""The arena of king and queen, rook or pawn against king, White to move."""

from takeback.arenas.endgames.arena import Endgames as Endgames
from takeback.arenas.endgames.play import PlayedEndgame as PlayedEndgame
from takeback.arenas.endgames.play import Turn as Turn
from takeback.arenas.endgames.situations import Endgame as Endgame
