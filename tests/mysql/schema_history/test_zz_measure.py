from __future__ import annotations
import pytest, time
from tests.mysql.room import Room
from tests.mysql.schema_history.conversions import Conversion, outcomes
MODES=["STRICT_TRANS_TABLES","","NO_ZERO_DATE,NO_ZERO_IN_DATE","PAD_CHAR_TO_FULL_LENGTH,STRICT_TRANS_TABLES","STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE","PAD_CHAR_TO_FULL_LENGTH"]
P=[("INT","BIGINT"),("INT UNSIGNED","BIGINT"),("INT UNSIGNED","BIGINT UNSIGNED"),("INT(5) ZEROFILL","BIGINT"),("MEDIUMINT","INT"),("TINYINT","SMALLINT"),
("DECIMAL(10,2)","DECIMAL(14,4)"),("DECIMAL(30,10)","DECIMAL(65,20)"),("DECIMAL(5,2) UNSIGNED","DECIMAL(5,2)"),
("FLOAT","DOUBLE"),("FLOAT(7,3)","DOUBLE"),("FLOAT(7,3)","FLOAT"),("DOUBLE(20,3)","DOUBLE"),("FLOAT UNSIGNED","DOUBLE"),("FLOAT","FLOAT(30)"),
("DATETIME","DATETIME(6)"),("DATETIME(3)","DATETIME(6)"),("TIMESTAMP(3) NULL","TIMESTAMP(6) NULL"),("TIMESTAMP NULL","TIMESTAMP(6) NULL"),("TIME","TIME(3)"),("TIME(3)","TIME(6)"),
("VARCHAR(20)","VARCHAR(50)"),("VARCHAR(20)","VARCHAR(300)"),("VARCHAR(20)","TEXT"),("VARCHAR(20)","TINYTEXT"),("CHAR(20)","VARCHAR(20)"),("CHAR(20)","CHAR(30)"),("CHAR(20)","TEXT"),
("VARBINARY(20)","VARBINARY(300)"),("VARBINARY(20)","BLOB"),("TINYBLOB","LONGBLOB"),("TINYTEXT","MEDIUMTEXT"),("BINARY(7)","BINARY(9)"),("BINARY(7)","VARBINARY(9)"),
("ENUM('a','b')","ENUM('a','b','c')"),("ENUM('a','b')","ENUM('c','b','a')"),("ENUM('a','b') COLLATE utf8mb4_bin","ENUM('a','b') COLLATE utf8mb4_general_ci"),
("ENUM('a','A') COLLATE utf8mb4_bin","ENUM('a','A') COLLATE utf8mb4_general_ci"),("ENUM('a','A') COLLATE utf8mb4_bin","ENUM('A','a','b') COLLATE utf8mb4_bin"),
("SET('a','A','b') COLLATE utf8mb4_bin","SET('a','A','b') COLLATE utf8mb4_general_ci"),
("ENUM('b','2','12')","ENUM('2','12','b','')"),("SET('a','b')","SET('a','b','c')"),("SET('a','b')","SET('b','a')"),("ENUM('a','ä') CHARACTER SET latin1","ENUM('a','ä','日') CHARACTER SET utf8mb4"),
("VARCHAR(50) COLLATE utf8mb4_bin","VARCHAR(50) COLLATE utf8mb4_general_ci"),
("TEXT CHARACTER SET latin1","TEXT"),("TEXT CHARACTER SET latin1","MEDIUMTEXT"),("LONGTEXT CHARACTER SET latin1","LONGTEXT"),
("INT NULL","INT NOT NULL"),("TIMESTAMP NULL","TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP"),("TIMESTAMP NULL","TIMESTAMP NOT NULL"),("DATETIME NULL","DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP"),("INT NOT NULL","INT NULL"),
("INT NULL","INT INVISIBLE"),("INT NULL","INT FIRST"),("BIT(9)","BIT(12)"),("YEAR","YEAR"),("DATE","DATE"),("DATE","DATETIME"),
("VARCHAR(20)","ALTER CONVERT TO CHARACTER SET utf8mb4"),("TEXT CHARACTER SET latin1","ALTER CONVERT TO CHARACTER SET utf8mb4"),
("JSON","JSON"),("LONGTEXT","JSON"),("POINT","GEOMETRY"),
]
def test_measure(mysql_family, family_db):
    room=Room(mysql_family,family_db)
    import sys
    cs=[Conversion(a,b,m) for m in MODES for a,b in P]
    t=time.time()
    out=open(f"/tmp/alterroom/{room.kind}.txt","w")
    res=outcomes(room,cs)
    print("TOOK",time.time()-t,len(cs))
    for o in res:
        c=o.conversion
        flag="WRONG" if not o.reread and not o.same else ("could" if o.reread and o.same and not o.refused else "")
        print(f"{flag:6} same={o.same!s:5} reread={o.reread!s:5} {c.before} -> {c.after} [{c.mode}] {o.refused[:100]} {o.shown[:200]}",file=out)
